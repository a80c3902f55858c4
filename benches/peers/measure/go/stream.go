package main

import (
	"sync"
	"time"
)

const senders = 5

func stream(j job) {
	if j.n == 0 {
		absent("it has no channel without a limit")
		return
	}
	each(j.size, func(size int) time.Duration {
		messages, total, times := make(chan int, j.n), make(chan int), ceil(size, senders)
		go func() {
			sum := 0
			for i := range messages {
				sum += i
			}
			total <- sum
		}()
		start := time.Now()
		var sending sync.WaitGroup
		sending.Add(senders)
		for s := 0; s < senders; s++ {
			go func() {
				for i := 0; i < times; i++ {
					messages <- i
				}
				sending.Done()
			}()
		}
		sending.Wait()
		close(messages)
		assert(<-total == senders*(times*(times-1)/2))
		return time.Since(start)
	})
}
