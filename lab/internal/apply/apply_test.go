package apply

import "testing"

func TestDecode(t *testing.T) {
	objects, err := Decode([]byte("# only a comment\n---\nkind: A\nmetadata: {name: a}\n---\n\n---\nkind: B\nmetadata: {name: b}\n"))
	if err != nil {
		t.Fatal(err)
	}
	if len(objects) != 2 || objects[0].GetName() != "a" || objects[1].GetKind() != "B" {
		t.Errorf("got %v", objects)
	}
	if _, err := Decode([]byte("kind: [")); err == nil {
		t.Error("broken YAML is accepted")
	}
}
