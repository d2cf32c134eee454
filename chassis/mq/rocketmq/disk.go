package rocketmq

import (
	"context"
	"errors"
	"fmt"

	"example.com/fourfold/chassis/mq/rocketmq/remoting"
)

// DiskUsed implements mq.Disk. It asks every broker that a name server knows.
func (b *Broker) DiskUsed(ctx context.Context) (float64, error) {
	ctx, cancel := context.WithTimeout(ctx, b.timeout)
	defer cancel()
	brokers, err := b.names.brokers(ctx, remoting.Brokers)
	if err != nil {
		return 0, unavailable(err)
	}
	most := 0.0
	for _, addr := range brokers {
		used, err := b.sign.DiskUsed(ctx, addr)
		if err != nil {
			return 0, unavailable(explained(err))
		}
		most = max(most, used)
	}
	return most, nil
}

// errNoBroker means that a name server answered, and no broker has registered with it.
var errNoBroker = errors.New("no broker has registered with the name server")

// brokers returns the addresses that list has of the first name server that answers with any.
func (n *names) brokers(ctx context.Context, list func(ctx context.Context, addr string) ([]string, error)) ([]string, error) {
	errs := []error{fmt.Errorf("none of the %s knows a broker", n.Description())}
	for _, addr := range n.Resolve() {
		brokers, err := list(ctx, addr)
		if err == nil && len(brokers) > 0 {
			return brokers, nil
		}
		if err == nil {
			err = fmt.Errorf("%w %s", errNoBroker, addr)
		}
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}
