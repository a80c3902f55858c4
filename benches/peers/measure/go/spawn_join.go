package main

import "time"

func spawnJoin(j job) {
	each(j.size, func(size int) time.Duration {
		start := time.Now()
		for i := 0; i < size; i++ {
			i := i
			assert(spawn(func() int { return i }).join() == i)
		}
		return time.Since(start)
	})
}
