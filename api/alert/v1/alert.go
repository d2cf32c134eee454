package alertv1

// Topic is the topic of alerts, and TypeRaised the type of their events.
const (
	Topic      = "alert-events"
	TypeRaised = "alert.raised"
)
