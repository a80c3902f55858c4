package main

import (
	"syscall"
	"time"
)

const limit = 5 * time.Second

func timers(j job) {
	switch j.param {
	case "tasks sleeping 0 to 1,000 ms":
		sleepers(j.size)
	case "limit round what is ready":
		outstanding(j.n)
		each(j.size, limitReady)
	default:
		outstanding(j.n)
		each(j.size, limitSuspending)
	}
}

func outstanding(n int) {
	g := newGate(n)
	for i := 0; i < n; i++ {
		go func() {
			g.arrive()
			time.Sleep(time.Hour)
		}()
	}
	for !g.isOpen() {
		time.Sleep(time.Millisecond)
	}
}

// Go cannot bound any code, so what is bounded is receiving: here of what has been sent already.
func limitReady(size int) time.Duration {
	messages := make(chan int, 1)
	start := time.Now()
	for i := 0; i < size; i++ {
		messages <- i
		assert(receive(messages) == i)
	}
	return time.Since(start)
}

// And here of what another sends.
func limitSuspending(size int) time.Duration {
	messages := make(chan int)
	go func() {
		for i := 0; i < size; i++ {
			messages <- i
		}
	}()
	start := time.Now()
	for i := 0; i < size; i++ {
		assert(receive(messages) == i)
	}
	return time.Since(start)
}

func receive(messages chan int) int {
	late := time.NewTimer(limit)
	defer late.Stop()
	select {
	case i := <-messages:
		return i
	case <-late.C:
		return -1
	}
}

func sleepers(count int) {
	before := cpuTime()
	late := make([]time.Duration, count)
	tasks := make([]*handle, count)
	for i := range tasks {
		i := i
		tasks[i] = spawn(func() int {
			due := time.Now().Add(time.Duration(i%1001) * time.Millisecond)
			time.Sleep(time.Until(due))
			late[i] = time.Since(due)
			return i
		})
	}
	for i, task := range tasks {
		assert(task.join() == i)
	}
	figure("CPU", "s", (cpuTime() - before).Seconds())
	figure("late, median", "ms", quantile(late, 0.5).Seconds()*1e3)
	figure("late, 99 %", "ms", quantile(late, 0.99).Seconds()*1e3)
}

func cpuTime() time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		fail(err.Error())
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
