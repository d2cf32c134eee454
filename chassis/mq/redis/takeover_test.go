package redis_test

import (
	"slices"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/fourfold/chassis/mq"
	"example.com/fourfold/chassis/mq/mqlaws"
)

// shared reports whether n instances have all queues, each about as many.
func (w *world) shared(group string, n int) bool {
	counts, sum := w.shares(group), 0
	for _, count := range counts {
		if count < 100/n-1 || count > 100/n+1 {
			return false
		}
		sum += count
	}
	return len(counts) == n && sum == 100
}

// TestTakeOver: two instances have half of the queues each. When one is not heard of any more, the other has its queues within the lease and a
// bit, and gets first what the dead one had read and not settled, in order.
func TestTakeOver(t *testing.T) {
	t.Parallel()
	for name, silent := range map[string]bool{"killed": false, "cut off": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			p := newProxy(t, w.Addr)
			var (
				r     record
				begun atomic.Int64
				hang  = make(chan struct{})
			)
			stop := listen(t, w.open(t, p.through), subscription("a"), func(mq.Delivery) bool { begun.Add(1); <-hang; return false })
			t.Cleanup(func() { close(hang); stop() })
			q := w.open(t)
			listen(t, q, subscription("a"), r.take)
			await(t, "shares", func() bool { return w.shared("a", 2) })
			sendAll(t, q, 100, 6)
			await(t, "all calls of one hang", func() bool { return begun.Load() == 8 && w.pending("a") > 20 && r.events() > 100 })
			time.Sleep(1500 * time.Millisecond) // the lease is kept although calls hang
			require.True(t, w.shared("a", 2))
			taken := r.events()
			require.Less(t, taken, 500)

			p.die(silent)
			died := time.Now()
			r.awaitAll(t, 600)
			t.Logf("%d events came %v after the death of who had read them, with a lease of 1s", 600-taken, time.Since(died).Round(10*time.Millisecond))
			assert.Greater(t, time.Since(died), 300*time.Millisecond, "the lease was still running")
			assert.Less(t, time.Since(died), 5*time.Second)
			await(t, "empty queues", func() bool { return w.entries() == 0 })
			assert.True(t, w.shared("a", 1))
		})
	}
}

// TestShareUnderLoad: an instance that has work in all queues hands half of them over nevertheless.
func TestShareUnderLoad(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	q := w.open(t)
	w.away(t, q, subscription("a"))
	subjects := map[int]string{} // one in each queue
	for n := 0; len(subjects) < q.Shards(); n++ {
		subjects[mq.Spread(strconv.Itoa(n), "", q.Shards())] = strconv.Itoa(n)
	}
	const each = 4 * 32 // batches
	for seq := range each {
		for _, subject := range subjects {
			send(t, q, mqlaws.New(subject, int64(seq+1)))
		}
	}
	var r record
	slow := func(d mq.Delivery) bool { time.Sleep(4 * time.Millisecond); return r.take(d) }
	listen(t, q, subscription("a"), slow)
	await(t, "the first has work in all queues", func() bool { return w.pending("a") > 31*100 })
	listen(t, w.open(t), subscription("a"), slow)
	await(t, "shares", func() bool { return w.shared("a", 2) })
	t.Logf("shared after %d of %d events", r.events(), each*100)
	assert.Less(t, r.events(), each*100*3/4)
	r.awaitAll(t, each*100)
	assert.Zero(t, r.again, "a queue changes hands between two batches")
}

// TestLeaveUnderLoad: while an instance that leaves waits for a call, others have the queues on which it does not work, and not that one,
// however long it takes.
func TestLeaveUnderLoad(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	q := w.open(t)
	let, begun := make(chan struct{}), make(chan struct{}, 10)
	var old, r record
	stop := listen(t, q, subscription("a"), func(d mq.Delivery) bool { begun <- struct{}{}; <-let; return old.take(d) })
	w.grouped(t, "a")
	send(t, q, mqlaws.New("0", 1))
	<-begun
	stopped := make(chan struct{})
	go func() { stop(); close(stopped) }()
	listen(t, w.open(t), subscription("a"), r.take)
	began := time.Now()
	send(t, q, mqlaws.New("1", 1))
	r.awaitAll(t, 1)
	await(t, "all queues but one", func() bool { return slices.Equal(w.shares("a"), []int{1, 99}) })
	send(t, q, mqlaws.New("0", 2)) // not before 1 is settled
	for seq := int64(2); time.Since(began) < 2500*time.Millisecond; seq++ {
		send(t, q, mqlaws.New("1", seq))
		await(t, "another one", func() bool { return int64(r.events()) == seq })
	}
	close(let)
	<-stopped
	await(t, "the next of that subject", func() bool { return r.failed() })
	assert.Equal(t, []string{"0: 2 after 0"}, r.wrong)
	assert.Equal(t, 1, old.events())
}

// TestComeAndGo: instances come, leave and die under a stream of events. No subject's events come for the first time out of order, and all come.
func TestComeAndGo(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var r record
	q := w.open(t)
	join := func() (leave func(), die func()) {
		p := newProxy(t, w.Addr)
		own := w.open(t, p.through)
		leave = listen(t, own, subscription("a"), func(d mq.Delivery) bool { return !p.passes() || r.take(d) }) // a dead one takes nothing
		return leave, func() { p.die(true) }
	}
	leaveA, dieA := join()
	_ = leaveA
	w.grouped(t, "a")
	stop, sent := make(chan struct{}), make(chan int, 1)
	go func() {
		tick := time.NewTicker(40 * time.Millisecond)
		defer tick.Stop()
		n := 0
		defer func() { sent <- n }()
		for seq := int64(1); ; seq++ {
			for subject := range 50 {
				if err := q.Send(t.Context(), topic, mqlaws.New(strconv.Itoa(subject), seq), time.Time{}); !assert.NoError(t, err) {
					return
				}
				n++
			}
			select {
			case <-tick.C:
			case <-stop:
				return
			}
		}
	}()
	shared := func(n int) {
		t.Helper()
		had := r.events()
		await(t, strconv.Itoa(n)+" instances", func() bool { return w.shared("a", n) && r.events() >= had+100 })
	}
	shared(1)
	leaveB, _ := join()
	shared(2)
	dieA()
	shared(1)
	leaveC, _ := join()
	shared(2)
	leaveB()
	shared(1)
	_, dieD := join()
	join()
	shared(3)
	dieD()
	shared(2)
	leaveC()
	shared(1)
	close(stop)
	n := <-sent
	r.awaitAll(t, n)
	await(t, "empty queues", func() bool { return w.entries() == 0 })
	t.Logf("%d events, of which %d came again", n, r.again)
}

// TestRates prints how fast a group settles what lies in the queues.
func TestRates(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, n := range []int{1, 4} {
		group := "g" + strconv.Itoa(n)
		var r record
		sender := w.open(t)
		w.away(t, sender, subscription(group))
		began := time.Now()
		sendAll(t, sender, 250, 20)
		t.Logf("sent one after another: %.0f events a second", 5000/time.Since(began).Seconds())
		began = time.Now()
		stops := make([]func(), n)
		for i := range stops {
			stops[i] = listen(t, w.open(t), subscription(group), r.take)
		}
		r.awaitAll(t, 5000)
		t.Logf("settled by %d instances: %.0f events a second", n, 5000/time.Since(began).Seconds())
		for _, stop := range stops {
			stop()
		}
		require.NoError(t, w.raw.FlushAll(t.Context()).Err())
	}
}

// TestOneQueue: when much lies in one queue, it is read on as soon as a batch of it is done, without a wait for the others.
func TestOneQueue(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	q := w.open(t)
	w.away(t, q, subscription("a"))
	sendAll(t, q, 1, 3200)
	var r record
	began := time.Now()
	listen(t, q, subscription("a"), r.take)
	r.awaitAll(t, 3200)
	t.Logf("of one subject: %.0f events a second", 3200/time.Since(began).Seconds())
	assert.Less(t, time.Since(began), 5*time.Second)
	assert.Zero(t, r.again)
}
