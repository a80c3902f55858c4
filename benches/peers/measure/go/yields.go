package main

import "time"

func yields(j job) {
	each(j.size, func(size int) time.Duration {
		g, times := newGate(j.n), ceil(size, j.n)
		for i := 0; i < j.n; i++ {
			go func() {
				g.arrive()
				for !g.isOpen() {
					yield()
				}
				for i := 0; i < times; i++ {
					yield()
				}
				g.finish()
			}()
		}
		return g.wait()
	})
}
