package settings

import (
	"encoding/json"
	"strconv"
)

// migration turns a document of one schema into the next, in place. It works on the document without types, because
// the types are those of the newest schema only. It must leave alone what it does not expect: the reader reports that.
type migration func(document)

// migrations[i] turns schema i+1 into schema i+2. A released migration never changes.
var migrations = []migration{}

// migrate brings doc to the newest schema. False: the document is from a newer program, and nothing of it can be judged.
func migrate(doc document, steps []migration, r *report) bool {
	current := len(steps) + 1
	schema := schemaOf(doc, current, r)
	if schema > current {
		r.add("schema", "the document has schema %d, but this box is older and knows schemas up to %d; update the box first", schema, current)
		return false
	}
	for _, step := range steps[schema-1:] {
		step(doc)
	}
	doc["schema"] = json.Number(strconv.Itoa(current))
	return true
}
