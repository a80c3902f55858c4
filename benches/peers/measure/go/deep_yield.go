package main

import "time"

const deepTasks = 100

func deepYield(j job) {
	each(j.size, func(size int) time.Duration {
		g, times := newGate(deepTasks), ceil(size, deepTasks)
		for i := 0; i < deepTasks; i++ {
			go func() {
				down(j.n, times, g)
				g.finish()
			}()
		}
		return g.wait()
	})
}

//go:noinline
func down(depth, times int, g *gate) {
	if depth > 1 {
		down(depth-1, times, g)
		return
	}
	g.arrive()
	for !g.isOpen() {
		yield()
	}
	for i := 0; i < times; i++ {
		yield()
	}
}
