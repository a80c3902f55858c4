package main

import "time"

func pingpong(j job) {
	each(j.size, func(size int) time.Duration {
		ping, pong := make(chan int, 1), make(chan int, 1)
		go func() {
			for i := range ping {
				pong <- i + 1
			}
			close(pong)
		}()
		start := time.Now()
		for i := 0; i < ceil(size, 2); i++ {
			ping <- i
			assert(<-pong == i+1)
		}
		elapsed := time.Since(start)
		close(ping)
		return elapsed
	})
}
