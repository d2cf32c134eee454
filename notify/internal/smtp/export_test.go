package smtp

// Mode is how the connection is encrypted.
func (p *Provider) Mode() string { return p.mode }
