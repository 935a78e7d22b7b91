// Nodes of HashiCorp's memberlist in one process, driven over standard input: each line is a question and gets a
// line of answer. The end of input is its end.
//
//	start N           so many nodes, all but the first with the first as their seed
//	live NODE         how many live members a node sees, itself included
//	sees NODE OTHER   whether a node holds another for live
//	leave NODE        says good-bye and ends
//	crash NODE        ends without a word
package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/hashicorp/memberlist"
)

const leaveTimeout = 10 * time.Second

type nodes []*memberlist.Memberlist

func name(node int) string {
	return fmt.Sprintf("node-%05d", node)
}

func start(node int) (*memberlist.Memberlist, error) {
	config := memberlist.DefaultLANConfig()
	config.Name = name(node)
	config.BindAddr = "127.0.0.1"
	config.BindPort = 0
	config.LogOutput = io.Discard
	return memberlist.Create(config)
}

// Its join waits for the exchange; the others' starts shall not.
func join(node *memberlist.Memberlist, seed string) {
	for {
		_, err := node.Join([]string{seed})
		if err == nil {
			return
		}
		fmt.Fprintln(os.Stderr, "go-memberlist:", err)
		time.Sleep(100 * time.Millisecond)
	}
}

func (all *nodes) start(n int) error {
	for len(*all) < n {
		node, err := start(len(*all))
		if err != nil {
			return err
		}
		*all = append(*all, node)
		if first := (*all)[0]; node != first {
			go join(node, first.LocalNode().Address())
		}
	}
	return nil
}

func (all nodes) sees(node, other int) bool {
	for _, member := range all[node].Members() {
		if member.Name == name(other) {
			return true
		}
	}
	return false
}

func (all *nodes) answer(line string) any {
	var verb string
	var node, other int
	// Most verbs have one number.
	fmt.Sscan(line, &verb, &node, &other)
	switch verb {
	case "start":
		if err := all.start(node); err != nil {
			return err
		}
	case "live":
		return (*all)[node].NumMembers()
	case "sees":
		return all.sees(node, other)
	case "leave":
		leaver := (*all)[node]
		go func() {
			leaver.Leave(leaveTimeout)
			leaver.Shutdown()
		}()
	case "crash":
		go (*all)[node].Shutdown()
	}
	return "ok"
}

func main() {
	var all nodes
	fmt.Println("ready")
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		fmt.Println(all.answer(lines.Text()))
	}
}
