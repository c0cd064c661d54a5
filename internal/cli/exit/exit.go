// Package exit defines how the command line ends: the exit codes that scripts can rely on, and the errors that carry them.
package exit

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"

	"meshlift.dev/meshlift/internal/gate"
)

// Exit codes.
const (
	// OK means done, or nothing to do.
	OK = 0
	// Failure is an error, for example that the cluster does not answer.
	Failure = 1
	// Usage is a wrong flag or argument.
	Usage = 2
	// Refused means that a rule forbids it; the message says which, and what to do.
	Refused = 3
	// MovesFailed means that the rollout ended, or waits for a decision, with data planes that could not be moved.
	MovesFailed = 4
	// Unfinished means that the work goes on, or was stopped half way: detached, timed out, or not waited for.
	Unfinished = 5
	// NotCompared is an error of "meshlift diff", where 1 means that there are differences, as in diff and kubectl diff.
	NotCompared = 6
	// Different means that "meshlift diff" found differences.
	Different = 1
)

// Help documents the codes; it is part of the help of every command.
const Help = `Exit codes:
  0  done, or nothing to do
  1  error
  2  wrong usage
  3  refused: a rule forbids it, the message says which and what to do
  4  data planes remain that could not be moved
  5  not finished: detached, timed out or stopped`

// HelpDiff documents the codes of "meshlift diff".
const HelpDiff = `Exit codes:
  0  no difference, or harmless ones only
  1  differences
  2  wrong usage
  3  refused: the message says what is missing
  6  error`

// ErrNotInstalled means that the cluster does not have the kinds of Meshlift.
var ErrNotInstalled = errors.New("Meshlift is not installed in this cluster")

// Error ends the command with a code.
type Error struct {
	// Code to exit with.
	Code int
	// Err is what is printed; nil prints nothing, because everything was said already.
	Err error
}

// Error is the message.
func (e *Error) Error() string {
	if e.Err == nil {
		return fmt.Sprintf("exit code %d", e.Code)
	}
	return e.Err.Error()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Silent ends the command with a code and without a message.
func Silent(code int) error { return &Error{Code: code} }

// Usagef is an error of usage.
func Usagef(format string, args ...any) error {
	return &Error{Usage, fmt.Errorf(format, args...)}
}

// Refusedf is a refusal in one sentence.
func Refusedf(format string, args ...any) error {
	return &Error{Refused, fmt.Errorf(format, args...)}
}

// Unfinishedf ends a wait before its end.
func Unfinishedf(format string, args ...any) error {
	return &Error{Unfinished, fmt.Errorf(format, args...)}
}

// Code of an error.
func Code(err error) int {
	var e *Error
	switch {
	case err == nil:
		return OK
	case errors.As(err, &e):
		return e.Code
	default:
		return Failure
	}
}

// Message is what to print for an error; "" for nothing.
func Message(err error) string {
	var e *Error
	if err == nil {
		return ""
	}
	if errors.As(err, &e) {
		if e.Err == nil {
			return ""
		}
		if e.Code == Refused {
			return e.Err.Error()
		}
	}
	return "error: " + err.Error()
}

// FromAPI turns an error of the API server into one for people: a refusal by admission or validation becomes the one
// sentence that was given as its reason, missing kinds say that Meshlift is not installed. Other errors stay as they are.
func FromAPI(program string, err error) error {
	if err == nil {
		return nil
	}
	if meta.IsNoMatchError(err) {
		return &Error{Failure, fmt.Errorf("%w: its kinds are missing; run %q first", ErrNotInstalled, program+" install")}
	}
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		return err
	}
	if sentence := gate.Sentence(status.Status()); sentence != "" {
		return &Error{Refused, errors.New(sentence)}
	}
	return err
}

// NoSubcommand is for commands that only group others: any argument is an unknown subcommand.
func NoSubcommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	return Usagef("unknown command %q for %q: see %q", args[0], cmd.CommandPath(), cmd.CommandPath()+" --help")
}
