package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"meshlift.dev/meshlift/lab/internal/echo"
)

// echoCommand is the entrypoint of the image lab.meshlift.dev/echo.
func echoCommand() *cobra.Command {
	return &cobra.Command{
		Use: "echo server|client", Hidden: true, DisableFlagParsing: true, Args: cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			programs := map[string]func([]string) int{"server": echo.ServerMain, "client": echo.ClientMain}
			program, ok := programs[args[0]]
			if !ok {
				return fmt.Errorf("echo %q: want server or client", args[0])
			}
			if code := program(args[1:]); code != 0 {
				return exitError(code)
			}
			return nil
		},
	}
}
