package alertv1

// Topic is where alerts are told, and TypeRaised the type of their events.
const (
	Topic      = "alert-events"
	TypeRaised = "alert.raised"
)
