package main

import "time"

func memory(j job) {
	if j.param == "not yet started" {
		unstarted(j.n)
		return
	}
	g, wake := newGate(j.n), time.Duration(j.size)*time.Millisecond
	before, start := residentAndTables(), time.Now()
	for i := 0; i < j.n; i++ {
		go func() {
			g.arrive()
			time.Sleep(wake - time.Since(start))
			g.finish()
		}()
	}
	for !g.isOpen() {
		time.Sleep(time.Millisecond)
	}
	spawning := g.open.Sub(start)
	asleep, maps := residentAndTables(), mappings()
	g.done.Wait()
	waking := time.Since(start) - wake
	if spawning > wake {
		waking = time.Since(start) - spawning
	}
	figure("per task", "bytes", (asleep-before)/float64(j.n))
	figure("mappings", "mappings", maps)
	figure("to spawn", "s", spawning.Seconds())
	figure("to wake", "s", waking.Seconds())
}

// With one thread to run them, hardly one starts before this one waits.
func unstarted(n int) {
	before := residentAndTables()
	for i := 0; i < n; i++ {
		i := i
		go func() { sink = i }()
	}
	figure("per task", "bytes", (residentAndTables()-before)/float64(n))
}

var sink int
