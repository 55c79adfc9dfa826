// Command controlplane is every program of the lab's control plane in one file.
//
// It does what its own name says (a link named etcd is etcd), or else what its first argument says. The programs are
// upstream's, unmodified. They are one file because they share nearly all of their packages, so that together they take
// little more room and time to build than the largest of them alone.
//
// Our own program before the API server, cmd/front, is not among them: it needs a tenth of their memory. Nor is the
// kubelet, cmd/kubelet, which few cases need.
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	_ "time/tzdata" // for time zones of CronJobs on machines without a database of them

	"go.etcd.io/etcd/etcdctl/v3/ctlv3"
	"go.etcd.io/etcd/server/v3/etcdmain"
	_ "k8s.io/client-go/plugin/pkg/client/auth" // credential plugins of kubectl
	"k8s.io/component-base/cli"
	"k8s.io/component-base/logs"
	_ "k8s.io/component-base/logs/json/register"          // --logging-format=json
	_ "k8s.io/component-base/metrics/prometheus/clientgo" // the client's own metrics
	_ "k8s.io/component-base/metrics/prometheus/version"  // the build's metric
	"k8s.io/kubectl/pkg/cmd"
	"k8s.io/kubectl/pkg/cmd/util"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllers "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	proxy "k8s.io/kubernetes/cmd/kube-proxy/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
)

// programs has one entry per name; each reads os.Args, whose first element is its name.
var programs = map[string]func() int{
	"etcd": func() int {
		etcdmain.Main(os.Args)
		return 0
	},
	"etcdctl": func() int {
		ctlv3.MustStart()
		return 0
	},
	"etcdutl":                 etcdutlMain,
	"kube-apiserver":          func() int { return cli.Run(apiserver.NewAPIServerCommand()) },
	"kube-controller-manager": func() int { return cli.Run(controllers.NewControllerManagerCommand()) },
	"kube-proxy":              func() int { return cli.Run(proxy.NewProxyCommand()) },
	"kube-scheduler":          func() int { return cli.Run(scheduler.NewSchedulerCommand()) },
	"kubectl":                 kubectlMain,
}

func main() {
	name := filepath.Base(os.Args[0])
	if _, ok := programs[name]; !ok && len(os.Args) > 1 {
		os.Args = os.Args[1:]
		name = os.Args[0]
	}
	program, ok := programs[name]
	if !ok {
		names := make([]string, 0, len(programs))
		for name := range programs {
			names = append(names, name)
		}
		slices.Sort(names)
		fmt.Fprintf(os.Stderr, "controlplane: no program %q; there are: %s\n", name, strings.Join(names, ", "))
		os.Exit(2)
	}
	os.Exit(program())
}

func kubectlMain() int {
	// kubectl reads its verbosity before it has parsed its flags: its construction logs already.
	logs.GlogSetter(cmd.GetLogVerbosity(os.Args)) //nolint:errcheck // a level that cannot be read is the default one
	if err := cli.RunNoErrOutput(cmd.NewDefaultKubectlCommand()); err != nil {
		// Prints the error and ends the program with the code that belongs to it.
		util.CheckErr(err)
	}
	return 0
}
