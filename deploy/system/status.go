package system

// Status is the state of one process of a system.
type Status struct {
	Name     string
	PID      int // 0 when it does not run
	Restarts int
	Memory   int64 // in bytes
	Err      error // why it is not healthy, else nil
}
