package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/spf13/cobra"
	"github.com/zitadel/oidc/v3/example/server/exampleop"
	"github.com/zitadel/oidc/v3/example/server/storage"
)

// oidcCommand is an OpenID Connect provider with two people, for tests of logging in: the one that the certified library brings as
// its example. test-user2 with the password "verysecure" has the subject id2.
func oidcCommand() *cobra.Command {
	var address, client, secret, redirect string
	c := &cobra.Command{
		Use: "oidc", Hidden: true, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			l, err := (&net.ListenConfig{}).Listen(cmd.Context(), "tcp", address)
			if err != nil {
				return fmt.Errorf("serve OpenID Connect: %w", err)
			}
			issuer := "http://" + l.Addr().String() + "/"
			storage.RegisterClients(storage.WebClient(client, secret, redirect))
			handler := exampleop.SetupServer(issuer, storage.NewStorage(storage.NewUserStore(issuer)), slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), nil)), false)
			cmd.Println(issuer)
			server := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second}
			context.AfterFunc(cmd.Context(), func() { _ = server.Close() })
			if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
				return fmt.Errorf("serve OpenID Connect: %w", err)
			}
			return nil
		},
	}
	f := c.Flags()
	f.StringVar(&address, "address", "127.0.0.1:0", "address to serve on")
	f.StringVar(&client, "client", "meshlift", "ID of the client")
	f.StringVar(&secret, "secret", "secret", "secret of the client")
	f.StringVar(&redirect, "redirect", "", "where browsers are sent back")
	return c
}
