package main

import "time"

func skynet(j job) {
	start := time.Now()
	total := tree(0, j.size)
	elapsed := time.Since(start)
	assert(total == j.size*(j.size-1)/2)
	figure("", "ms", elapsed.Seconds()*1e3)
	figure("peak memory", "MB", status("VmHWM:")/1e6)
}

func tree(first, leaves int) int {
	if leaves == 1 {
		return first
	}
	each := leaves / 10
	var children [10]*handle
	for i := range children {
		from := first + i*each
		children[i] = spawn(func() int { return tree(from, each) })
	}
	total := 0
	for _, child := range children {
		total += child.join()
	}
	return total
}
