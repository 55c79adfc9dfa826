package main

import (
	"time"

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/etcdutl/v3/etcdutl"
)

// etcdutlMain is etcdutl with the commands that the lab uses: upstream builds its tree of commands in a package main,
// which cannot be imported.
func etcdutlMain() int {
	root := &cobra.Command{Use: "etcdutl", Short: "Works on files of etcd while it does not run."}
	flags := root.PersistentFlags()
	flags.DurationVar(&etcdutl.FlockTimeout, "timeout", 10*time.Second, "how long to wait for the lock of a database file")
	flags.StringVarP(&etcdutl.OutputFormat, "write-out", "w", "simple", "fields, json, protobuf, simple or table")
	root.AddCommand(etcdutl.NewSnapshotCommand(), etcdutl.NewDefragCommand(), etcdutl.NewVersionCommand())
	if root.Execute() != nil {
		return 1
	}
	return 0
}
