package httpapi

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"testing"

	"k8s.io/utils/clock"
)

var update = flag.Bool("update", false, "write api/openapi.json anew")

// document is where the pages take their types from.
const document = "../../api/openapi.json"

func TestTheOpenAPIDocumentIsUpToDate(t *testing.T) {
	b, err := New(Options{Version: "v1", Clock: clock.RealClock{}}).OpenAPI()
	if err != nil {
		t.Fatal(err)
	}
	var pretty bytes.Buffer
	if err := json.Indent(&pretty, b, "", " "); err != nil {
		t.Fatal(err)
	}
	pretty.WriteByte('\n')
	if *update {
		if err := os.WriteFile(document, pretty.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(have, pretty.Bytes()) {
		t.Error("api/openapi.json is not what the API serves: run make generate")
	}
}
