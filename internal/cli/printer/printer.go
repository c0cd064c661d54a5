// Package printer writes values as JSON or YAML for scripts.
package printer

import (
	"encoding/json"
	"fmt"
	"io"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"
	"sigs.k8s.io/yaml"

	"meshlift.dev/meshlift/internal/cli/exit"
)

// Format is the value of the flag -o.
type Format string

// Formats.
const (
	Text Format = ""
	JSON Format = "json"
	YAML Format = "yaml"
)

// AddFlag adds -o with its completion.
func (f *Format) AddFlag(cmd *cobra.Command) {
	cmd.Flags().StringVarP((*string)(f), "output", "o", "", "Output format: json or yaml")
	// The flag exists, so this cannot fail.
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"json", "yaml"}, cobra.ShellCompDirectiveNoFileComp))
}

// Check refuses unknown formats.
func (f Format) Check() error {
	switch f {
	case Text, JSON, YAML:
		return nil
	}
	return exit.Usagef("unknown output format %q: use json or yaml", string(f))
}

// Write prints a value, which must not be asked for as text.
func (f Format) Write(w io.Writer, v any) error {
	data, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return fmt.Errorf("encode output: %w", err)
	}
	if f == YAML {
		if data, err = yaml.JSONToYAML(data); err != nil {
			return fmt.Errorf("encode output: %w", err)
		}
	} else {
		data = append(data, '\n')
	}
	_, err = w.Write(data)
	return err
}

// WriteObject prints an object of the API with its kind and without managed fields.
func (f Format) WriteObject(w io.Writer, obj client.Object, scheme *runtime.Scheme) error {
	gvk, err := apiutil.GVKForObject(obj, scheme)
	if err != nil {
		return fmt.Errorf("find kind of %q: %w", obj.GetName(), err)
	}
	out := obj.DeepCopyObject().(client.Object)
	out.GetObjectKind().SetGroupVersionKind(gvk)
	out.SetManagedFields(nil)
	return f.Write(w, out)
}

// WriteList prints objects of the API as a list of that kind.
func WriteList[T client.Object](f Format, w io.Writer, items []T, gvk schema.GroupVersionKind) error {
	out := make([]T, 0, len(items))
	for _, i := range items {
		c := i.DeepCopyObject().(T)
		c.GetObjectKind().SetGroupVersionKind(gvk)
		c.SetManagedFields(nil)
		out = append(out, c)
	}
	return f.Write(w, map[string]any{"apiVersion": gvk.GroupVersion().String(), "kind": gvk.Kind + "List", "items": out})
}
