package port

// Free is for the tests.
var Free = free
