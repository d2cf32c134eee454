package checkout

import (
	"context"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"example.com/fourfold/order/internal/mysql"
)

// measureOpen exports the gauge order_open_attempts{kind, age}: how many attempts are open, and for how long. All instances show the database's
// numbers, so the same ones; while the database does not answer, they show none.
func measureOpen(store *mysql.Store) error {
	_, err := otel.Meter(scope).Int64ObservableGauge("order_open_attempts",
		metric.WithDescription("Attempts of payments and refunds that are open, by age. "+
			"Every instance shows all: take the maximum, not the sum."),
		metric.WithInt64Callback(func(ctx context.Context, o metric.Int64Observer) error {
			ctx, cancel := context.WithTimeout(ctx, time.Second)
			defer cancel()
			open, err := store.CountOpen(ctx)
			if err != nil {
				return err
			}
			for kind, counts := range open {
				for class, n := range counts {
					o.Observe(n, metric.WithAttributes(attribute.String("kind", string(kind)), attribute.String("age", mysql.Ages[class])))
				}
			}
			return nil
		}))
	return err
}
