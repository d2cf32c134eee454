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
	brokers, err := b.brokers(ctx)
	if err != nil {
		return 0, unavailable(err)
	}
	most := 0.0
	for _, addr := range brokers {
		used, err := remoting.DiskUsed(ctx, addr)
		if err != nil {
			return 0, unavailable(err)
		}
		most = max(most, used)
	}
	return most, nil
}

// errNoBroker means that a name server answered, and no broker has registered with it.
var errNoBroker = errors.New("no broker has registered with the name server")

// brokers returns the addresses of the brokers, at least one, by the first name server that answers.
func (b *Broker) brokers(ctx context.Context) ([]string, error) {
	errs := []error{fmt.Errorf("none of the %s knows a broker", b.names.Description())}
	for _, addr := range b.names.Resolve() {
		brokers, err := remoting.Brokers(ctx, addr)
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
