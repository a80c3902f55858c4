package main

import "time"

func spawnBurst(j job) {
	yielding := j.param != "empty"
	each(j.size, func(size int) time.Duration {
		bursts := ceil(size, j.n)
		tasks := make([]*handle, j.n)
		start := time.Now()
		for b := 0; b < bursts; b++ {
			for i := range tasks {
				i := i
				tasks[i] = spawn(func() int {
					if yielding {
						yield()
					}
					return i
				})
			}
			total := 0
			for _, task := range tasks {
				total += task.join()
			}
			assert(total == j.n*(j.n-1)/2)
		}
		return time.Since(start) * time.Duration(size) / time.Duration(bursts*j.n)
	})
}
