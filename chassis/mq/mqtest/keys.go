package mqtest

import "example.com/fourfold/chassis/mac"

// KeyText is a key for tests, as it is configured.
const KeyText = "test:00112233445566778899aabbccddeeff"

// Keys returns the key for tests.
func Keys() mac.Keys {
	k, err := mac.Parse(KeyText)
	if err != nil {
		panic(err) // it is a constant
	}
	return k
}
