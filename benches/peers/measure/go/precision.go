package main

import "time"

func precision(j job) {
	nap := time.Duration(j.n) * time.Microsecond
	late := make([]time.Duration, j.size)
	for i := range late {
		due := time.Now().Add(nap)
		time.Sleep(time.Until(due))
		late[i] = time.Since(due)
	}
	figure("median", "µs", quantile(late, 0.5).Seconds()*1e6)
	figure("99 %", "µs", quantile(late, 0.99).Seconds()*1e6)
}
