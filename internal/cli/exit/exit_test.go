package exit_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"meshlift.dev/meshlift/internal/cli/exit"
)

func TestErrorsBecomeCodesAndMessages(t *testing.T) {
	for name, c := range map[string]struct {
		err     error
		code    int
		message string
	}{
		"success":            {nil, exit.OK, ""},
		"any error":          {errors.New("no route to host"), exit.Failure, "error: no route to host"},
		"wrong usage":        {exit.Usagef("no such flag"), exit.Usage, "error: no such flag"},
		"a refusal":          {exit.Refusedf("One upgrade at a time."), exit.Refused, "One upgrade at a time."},
		"a wrapped refusal":  {fmt.Errorf("start: %w", exit.Refusedf("One upgrade at a time.")), exit.Refused, "One upgrade at a time."},
		"all was said":       {exit.Silent(exit.MovesFailed), exit.MovesFailed, ""},
		"it was not waited":  {exit.Unfinishedf("detached"), exit.Unfinished, "error: detached"},
		"an error as a kind": {errors.Join(exit.Silent(exit.Unfinished), errors.New("x")), exit.Unfinished, ""},
	} {
		t.Run(name, func(t *testing.T) {
			if got := exit.Code(c.err); got != c.code {
				t.Errorf("code %d, want %d", got, c.code)
			}
			if got := exit.Message(c.err); got != c.message {
				t.Errorf("message %q, want %q", got, c.message)
			}
		})
	}
}

func TestARefusalByTheClusterIsItsSentence(t *testing.T) {
	resource := schema.GroupResource{Group: "meshlift.dev", Resource: "clusterupgrades"}
	kind := schema.GroupKind{Group: "meshlift.dev", Kind: "ClusterUpgrade"}
	invalid := apierrors.NewInvalid(kind, "u", field.ErrorList{
		field.Invalid(field.NewPath("spec"), "object", "the version of an upgrade cannot be changed"),
	})
	for name, c := range map[string]struct {
		err     error
		code    int
		message string
	}{
		"by a webhook": {
			apierrors.NewForbidden(resource, "u", errors.New(`admission webhook "u.meshlift.dev" denied the request: ClusterUpgrade "a" is not finished: finish it`)),
			exit.Refused, `ClusterUpgrade "a" is not finished: finish it`,
		},
		"by a policy": {
			apierrors.NewForbidden(resource, "u", errors.New(`ValidatingAdmissionPolicy 'p' with binding 'b' denied request: not today`)),
			exit.Refused, "not today",
		},
		"by the schema":       {invalid, exit.Refused, "spec: the version of an upgrade cannot be changed"},
		"no permission":       {apierrors.NewForbidden(resource, "u", errors.New("user ann may not")), exit.Failure, "user ann may not"},
		"the kind is missing": {&meta.NoKindMatchError{GroupKind: kind}, exit.Failure, `run "kubectl meshlift install" first`},
		"another error":       {errors.New("timeout"), exit.Failure, "timeout"},
	} {
		t.Run(name, func(t *testing.T) {
			err := exit.FromAPI("kubectl meshlift", fmt.Errorf("create ClusterUpgrade: %w", c.err))
			if exit.Code(err) != c.code || !strings.Contains(exit.Message(err), c.message) {
				t.Errorf("code %d, message %q; want %d, %q", exit.Code(err), exit.Message(err), c.code, c.message)
			}
			if c.code == exit.Refused && exit.Message(err) != c.message {
				t.Errorf("message %q has more than the sentence %q", exit.Message(err), c.message)
			}
		})
	}
}
