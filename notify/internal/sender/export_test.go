package sender

// Look is one round of Watch for a channel.
var Look = look

// LookAtBudget is one round of WatchBudget.
var LookAtBudget = lookAtBudget
