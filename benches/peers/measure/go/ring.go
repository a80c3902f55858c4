package main

import "time"

func ring(j job) {
	each(j.size, func(size int) time.Duration {
		first := make(chan int, 1)
		last := first
		for i := 1; i < j.n; i++ {
			from, to := last, make(chan int, 1)
			go func() {
				for hops := range from {
					to <- hops + 1
				}
				close(to)
			}()
			last = to
		}
		start := time.Now()
		hops := 0
		for hops < size {
			first <- hops + 1
			hops = <-last
			assert(hops%j.n == 0)
		}
		elapsed := time.Since(start)
		close(first)
		return elapsed * time.Duration(size) / time.Duration(hops)
	})
}
