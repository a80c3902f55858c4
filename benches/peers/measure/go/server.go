package main

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"time"
)

const buffer = 4096

var answer = []byte("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 13\r\n\r\nHello, World!")

func serve(bench string) {
	if bench == "fairness" {
		go func() {
			for {
				yield()
			}
		}()
		go func() {
			for {
				for start := time.Now(); time.Since(start) < time.Millisecond; {
				}
				yield()
			}
		}()
	}
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		fail(err.Error())
	}
	fmt.Printf("listening %s\n", listener.Addr())
	for {
		stream, err := listener.Accept()
		if err != nil {
			fail(err.Error())
		}
		if bench == "http" {
			go http(stream)
		} else {
			go echo(stream)
		}
	}
}

func echo(stream net.Conn) {
	defer stream.Close()
	buf := make([]byte, buffer)
	for {
		n, err := stream.Read(buf)
		if n > 0 {
			_, err = stream.Write(buf[:n])
		}
		if err != nil {
			return
		}
	}
}

func http(stream net.Conn) {
	defer stream.Close()
	buf, kept := make([]byte, 4*buffer), 0
	var answers []byte
	for {
		n, err := stream.Read(buf[kept:])
		if err != nil {
			if err != io.EOF {
				fmt.Println(err)
			}
			return
		}
		input := buf[:kept+n]
		answers = answers[:0]
		for {
			length := request(input)
			if length == 0 {
				break
			}
			input = input[length:]
			answers = append(answers, answer...)
		}
		kept = copy(buf, input)
		if _, err := stream.Write(answers); err != nil {
			return
		}
	}
}

var line, colon, first = []byte("\r\n"), []byte(": "), []byte("GET /plaintext HTTP/1.1")

// The length of the request at the beginning of the input, whose line and headers are looked at; 0 if it is not whole.
func request(input []byte) int {
	at := bytes.Index(input, line)
	if at < 0 {
		return 0
	}
	assert(bytes.Equal(input[:at], first))
	for {
		at += len(line)
		length := bytes.Index(input[at:], line)
		switch {
		case length < 0:
			return 0
		case length == 0:
			return at + len(line)
		}
		assert(bytes.Contains(input[at:at+length], colon))
		at += length
	}
}
