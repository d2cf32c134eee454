package ledger

// Numbers returns buckets in the type of the database's column.
func Numbers(buckets []int) []int16 {
	numbers := make([]int16, len(buckets))
	for i, n := range buckets {
		numbers[i] = int16(n)
	}
	return numbers
}

// DigestOf makes a digest of the rows of a query that sums up by bucket, and passes the query's error on.
func DigestOf[R any](rows []R, err error, sum func(R) (bucket int16, s Sum)) (*Digest, error) {
	if err != nil {
		return nil, err
	}
	var d Digest
	for _, r := range rows {
		bucket, s := sum(r)
		d[bucket] = s
	}
	return &d, nil
}

// FactsOf makes facts of the rows of a query, and passes the query's error on.
func FactsOf[R any](rows []R, err error, fact func(R) Fact) ([]Fact, error) {
	facts := make([]Fact, len(rows))
	for i, r := range rows {
		facts[i] = fact(r)
	}
	return facts, err
}
