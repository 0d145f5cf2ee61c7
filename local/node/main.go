// One binary for every Kubernetes component that the nodes need and for the clients that talk to it,
// chosen by the name it is called by or by its first argument.
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"go.etcd.io/etcd/server/v3/etcdmain"
	"k8s.io/component-base/cli"
)

var programs = map[string]func(args []string){
	"etcd":    etcdmain.Main,
	"coredns": serveDNS,
	"volumes": provideVolumes,
	"kubectl": runKubectl,
	"helm":    runHelm,
}

func main() {
	for name, command := range components {
		programs[name] = func([]string) { os.Exit(cli.Run(command())) }
	}
	run, ok := programs[filepath.Base(os.Args[0])]
	if !ok {
		if len(os.Args) > 1 {
			run, ok = programs[os.Args[1]]
		}
		if !ok {
			names := make([]string, 0, len(programs))
			for name := range programs {
				names = append(names, name)
			}
			slices.Sort(names)
			fmt.Fprintf(os.Stderr, "usage: kube %s ARG...\n", strings.Join(names, "|"))
			os.Exit(2)
		}
		os.Args = os.Args[1:]
	}
	run(os.Args)
}
