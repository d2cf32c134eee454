package port

// Free exports free for the tests.
var Free = free
