package mq

import "hash/fnv"

// Spread returns in which of n queues the events of a subject lie, from 0 on: the same in every process and for every transport, so that no
// queue has more than its share. Events without a subject are spread by their ids.
func Spread(subject, id string, n int) int {
	if subject == "" {
		subject = id
	}
	h := fnv.New32a()
	_, _ = h.Write([]byte(subject))
	return int(h.Sum32() % uint32(n))
}

// TakeAll calls take for deliveries that came together: those of a subject one after another, in the order of ds, until one is not settled, and
// different subjects at the same time, as many as slots has room for. It reports whether all are settled.
func TakeAll(ds []Delivery, slots chan struct{}, take func(Delivery) bool) bool {
	var subjects []string
	bySubject := map[string][]Delivery{}
	for _, d := range ds {
		key := d.Event.Subject
		if d.Broken != nil || key == "" {
			key = "\x00" + d.ID
		}
		if _, seen := bySubject[key]; !seen {
			subjects = append(subjects, key)
		}
		bySubject[key] = append(bySubject[key], d)
	}
	settled := make(chan bool, len(subjects))
	for _, subject := range subjects {
		slots <- struct{}{}
		go func() {
			defer func() { <-slots }()
			for _, d := range bySubject[subject] {
				if !take(d) {
					settled <- false
					return
				}
			}
			settled <- true
		}()
	}
	all := true
	for range subjects {
		all = <-settled && all
	}
	return all
}
