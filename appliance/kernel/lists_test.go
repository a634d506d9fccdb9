package kernel

import (
	"reflect"
	"testing"
	"unsafe"

	"github.com/cilium/ebpf/btf"

	"breakwater/appliance/lists"
)

// TestListsLayout: structs and numbers of bpf/lists.h are those of Go.
func TestListsLayout(t *testing.T) {
	spec, err := loadBpf()
	if err != nil {
		t.Fatal(err)
	}
	for name, v := range map[string]any{
		"list_line": bpfListLine{}, "list_head": bpfListHead{}, "list_state": bpfListState{}, "list_verdict": bpfListVerdict{}, "list_query": bpfListQuery{},
	} {
		var c *btf.Struct
		if err := spec.Types.TypeByName(name, &c); err != nil {
			t.Errorf("find struct %s: %v", name, err)
			continue
		}
		compareStruct(t, name, c, reflect.TypeOf(v))
	}
	if unsafe.Offsetof(bpfListHead{}.Level) != 8 || unsafe.Sizeof(bpfListHead{}) > lineWords*8 {
		t.Error("the head of a table is drawn otherwise")
	}
	header := constantsOf(t, "bpf/lists.h")
	for name, want := range map[string]int{
		"LIST_ROOT": listRoot, "LIST_LEAF": listLeaf, "LIST_LEVELS": listLevels, "LIST_WITHIN": listWithin, "LIST_CLASSES": listClasses, "MARKS": markWords,
		"CLASS_NONE": lists.None, "CLASS_PROTECTED": lists.Protected, "CLASS_ALLOWED": lists.Allowed, "CLASS_BANNED": lists.Banned, "CLASS_DENIED": lists.Denied,
		"CLASS_UNKNOWN": 0, "CLASS_PASS": classPass, "CLASS_DROP": classDrop,
	} {
		if got, known := header[name]; !known || got != want {
			t.Errorf("%s is %d in C, %d in Go", name, got, want)
		}
		delete(header, name)
	}
	for name := range header {
		t.Errorf("%s is compared with nothing", name)
	}
}
