package front

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
)

// list is a flag that may repeat.
type list []string

func (l *list) String() string { return strings.Join(*l, ",") }

func (l *list) Set(value string) error {
	*l = append(*l, value)
	return nil
}

// Main runs `front serve` or `front keys` and answers the exit code.
func Main(args []string) int {
	if len(args) == 0 {
		fmt.Fprintln(os.Stderr, "front: say `front serve` or `front keys`")
		return 2
	}
	var err error
	switch args[0] {
	case "serve":
		err = serveMain(args[1:])
	case "keys":
		err = keysMain(args[1:])
	default:
		err = fmt.Errorf("no command %q: serve, keys", args[0])
	}
	if errors.Is(err, flag.ErrHelp) {
		return 2
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "front:", err)
		return 1
	}
	return 0
}

func keysMain(args []string) error {
	flags := flag.NewFlagSet("front keys", flag.ContinueOnError)
	dir := flags.String("dir", "", "folder that the files are written to")
	var names list
	flags.Var(&names, "name", "name or address that clients use for the API server; may repeat")
	if err := flags.Parse(args); err != nil {
		return err
	}
	return WriteKeys(*dir, names)
}

func serveMain(args []string) error {
	var options Options
	flags := flag.NewFlagSet("front serve", flag.ContinueOnError)
	flags.Var((*list)(&options.Listen), "listen", "address and port for clients; may repeat")
	flags.StringVar(&options.Upstream, "upstream", "https://127.0.0.1:6443", "URL of the API server")
	flags.StringVar(&options.Certificate, "certificate", "", "serving certificate, PEM")
	flags.StringVar(&options.Key, "key", "", "its key, PEM")
	flags.StringVar(&options.Authority, "authority", "", "certificates that the API server's own must lead to, PEM")
	flags.StringVar(&options.Control, "control", "", "unix socket on which front is told what to do")
	flags.StringVar(&options.Admin, "admin", "", "unix socket that leads to the API server with the token")
	flags.StringVar(&options.TokenFile, "token-file", "", "file with the bearer token of that socket")
	if err := flags.Parse(args); err != nil {
		return err
	}
	front, err := New(options)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return front.Run(ctx)
}
