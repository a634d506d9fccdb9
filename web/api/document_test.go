package api_test

import (
	"bytes"
	"encoding/json"
	"maps"
	"net/http"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"breakwater/appliance/access"
	"breakwater/appliance/control"
	"breakwater/appliance/health"
	"breakwater/appliance/history"
	"breakwater/appliance/incident"
	"breakwater/appliance/plan"
	"breakwater/appliance/settings"
	"breakwater/appliance/status"
	"breakwater/appliance/update"
	"breakwater/web/api"
	"breakwater/web/tls"
	"breakwater/web/webtest"
)

// document is openapi.json, with a compiler for its schemas.
type document struct {
	paths    map[string]map[string]operation
	schemas  map[string]any
	problem  problemResponse
	compiler *jsonschema.Compiler
}

type problemResponse struct {
	Content map[string]struct {
		Examples map[string]struct{ Value json.RawMessage }
	}
}

type operation struct {
	OperationID string   `json:"operationId"`
	Permission  string   `json:"x-permission"`
	Danger      bool     `json:"x-danger"`
	Problems    []string `json:"x-problems"`
	Parameters  []described
	RequestBody *struct{ Content map[string]any }
	Responses   map[string]struct {
		Content map[string]struct{ Schema map[string]any }
	}
}

type described struct{ Name, In, Description string }

const documentURL = "https://box.example/openapi.json"

// readDocument reads openapi.json. Its schemas are made strict: what they do not name is refused, so that no answer has
// a field that nobody described.
func readDocument(t testing.TB) *document {
	t.Helper()
	data, err := os.ReadFile("openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	var d struct {
		Paths      map[string]map[string]operation
		Components struct {
			Schemas   map[string]any
			Responses struct{ Problem problemResponse }
		}
	}
	if err := json.Unmarshal(data, &d); err != nil {
		t.Fatal(err)
	}
	whole, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	strict(whole)
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	c.AssertFormat()
	if err := c.AddResource(documentURL, whole); err != nil {
		t.Fatal(err)
	}
	return &document{d.Paths, d.Components.Schemas, d.Components.Responses.Problem, c}
}

func strict(v any) {
	switch v := v.(type) {
	case map[string]any:
		_, properties := v["properties"].(map[string]any)
		if _, said := v["additionalProperties"]; properties && !said && v["type"] == "object" {
			v["additionalProperties"] = false
		}
		for _, each := range v {
			strict(each)
		}
	case []any:
		for _, each := range v {
			strict(each)
		}
	}
}

// schema compiles what is at a JSON pointer (RFC 6901) of the document.
func (d *document) schema(t testing.TB, keys ...string) *jsonschema.Schema {
	t.Helper()
	pointer := "#"
	for _, key := range keys {
		pointer += "/" + strings.NewReplacer("~", "~0", "/", "~1", "{", "%7B", "}", "%7D").Replace(key)
	}
	s, err := d.compiler.Compile(documentURL + pointer)
	if err != nil {
		t.Fatalf("schema %s: %v", pointer, err)
	}
	return s
}

func validate(t testing.TB, s *jsonschema.Schema, what string, data []byte) {
	t.Helper()
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
	if err == nil {
		err = s.Validate(value)
	}
	if err != nil {
		t.Errorf("%s is not as its schema says: %v\n%.2000s", what, err, data)
	}
}

// parameter is how Echo writes a place in a path.
var parameter = regexp.MustCompile(`:(\w+)`)

func TestDocumentAndRoutesAgree(t *testing.T) {
	d := readDocument(t)
	type row struct {
		Permission string
		Danger     bool
	}
	documented, routed := map[string]row{}, map[string]row{}
	for path, methods := range d.paths {
		for method, o := range methods {
			documented[strings.ToUpper(method)+" "+path] = row{o.Permission, o.Danger}
		}
	}
	for _, r := range (&api.API{}).Routes() {
		routed[r.Method+" "+parameter.ReplaceAllString(r.Path, "{$1}")] = row{words[r.Needs], r.Danger}
	}
	if diff := cmp.Diff(routed, documented); diff != "" {
		t.Errorf("routes (-) and document (+) differ:\n%s", diff)
	}
}

var words = map[access.Permission]string{access.Public: "public", access.Own: "own", access.View: "view", access.Operate: "operate",
	access.Change: "change", access.Administer: "administer", access.Audit: "audit", access.LocalOnly: "local"}

func TestOperationsAreDescribed(t *testing.T) {
	d := readDocument(t)
	seen := map[string]string{}
	for path, methods := range d.paths {
		for method, o := range methods {
			at := method + " " + path
			if other, twice := seen[o.OperationID]; twice || o.OperationID == "" {
				t.Errorf("%s: its operationId %q is that of %s", at, o.OperationID, other)
			}
			seen[o.OperationID] = at
			if _, ok := o.Responses["default"]; !ok {
				t.Errorf("%s describes no problem", at)
			}
			if method == "get" && o.RequestBody != nil || (method == "put") != (o.RequestBody != nil) && method == "put" {
				t.Errorf("%s: has it a body?", at)
			}
			var inPath []string
			for _, p := range o.Parameters {
				if p.In == "path" {
					inPath = append(inPath, "{"+p.Name+"}")
				}
			}
			if got := regexp.MustCompile(`\{\w+\}`).FindAllString(path, -1); !slices.Equal(got, inPath) {
				t.Errorf("%s: the path has %v, the parameters are %v", at, got, inPath)
			}
		}
	}
}

// TestSchemasCompile also validates the examples that stand in them, and every reference.
func TestSchemasCompile(t *testing.T) {
	d := readDocument(t)
	for name, content := range d.schemas {
		s := d.schema(t, "components", "schemas", name)
		examples, _ := content.(map[string]any)["examples"].([]any)
		for _, e := range examples {
			data, err := json.Marshal(e)
			if err != nil {
				t.Fatal(err)
			}
			validate(t, s, "an example of "+name, data)
		}
	}
	used := map[string]bool{}
	for path, methods := range d.paths {
		for method, o := range methods {
			for code, r := range o.Responses {
				for kind := range r.Content {
					d.schema(t, "paths", path, method, "responses", code, "content", kind, "schema")
				}
			}
			if o.RequestBody != nil {
				for kind := range o.RequestBody.Content {
					d.schema(t, "paths", path, method, "requestBody", "content", kind, "schema")
				}
			}
		}
	}
	data, err := os.ReadFile("openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`"#/components/(\w+)/(\w+)"`).FindAllStringSubmatch(string(data), -1) {
		used[m[2]] = true
		if m[1] == "schemas" && d.schemas[m[2]] == nil {
			t.Errorf("there is no schema %s", m[2])
		}
	}
	for name := range d.schemas {
		if !used[name] {
			t.Errorf("nothing refers to the schema %s", name)
		}
	}
}

// TestSchemasHaveTheFieldsOfTheirTypes finds fields that no answer of a test happens to have.
func TestSchemasHaveTheFieldsOfTheirTypes(t *testing.T) {
	d := readDocument(t)
	for name, v := range map[string]any{
		"Problem": api.Problem{}, "FieldProblem": settings.Problem{}, "Change": settings.Change{}, "Changes": api.Changes{}, "Check": api.Check{}, "Pending": control.Pending{},
		"Result": control.Result{}, "Revision": control.Revision{},
		"Settings": settings.Settings{}, "SettingsEdge": settings.Edge{}, "SettingsManagement": settings.Management{}, "SettingsACME": settings.ACME{},
		"SettingsDNS": settings.DNS{}, "SettingsHost": settings.Host{}, "SettingsInterface": settings.Interface{}, "SettingsRoute": settings.Route{}, "SettingsUpdates": settings.Updates{}, "SettingsAlerts": settings.Alerts{}, "SettingsWebhook": settings.Webhook{}, "SettingsEmail": settings.Email{}, "SettingsLimits": settings.Limits{}, "SettingsPool": settings.Pool{}, "SettingsHealth": settings.Health{},
		"SettingsOrigin": settings.Origin{}, "SettingsService": settings.Service{}, "SettingsTimeouts": settings.Timeouts{},
		"SettingsServiceLimits": settings.ServiceLimits{}, "Preset": settings.Preset{}, "Probe": settings.Probe{},
		"Condition": health.Condition{}, "Status": control.Status{}, "EdgeStatus": status.Edge{}, "ServiceStatus": status.Service{},
		"ReasonCounter": status.ReasonCounter{}, "PoolStatus": status.Pool{}, "OriginStatus": status.Origin{}, "SteeringStatus": status.Steering{},
		"Limits": plan.Limits{}, "EventCounters": status.EventCounters{}, "Interface": status.Interface{}, "Counters": status.Counters{},
		"Session": status.Session{}, "SessionList": status.SessionList{}, "Event": status.Event{}, "Live": api.Live{}, "LivePending": api.LivePending{},
		"Samples": api.Samples{}, "LogLine": control.LogLine{}, "Ban": control.Ban{}, "BanRequest": api.BanRequest{}, "OriginChange": history.OriginChange{},
		"Incident": incident.Incident{}, "IncidentPart": incident.Part{}, "IncidentTotals": incident.Totals{}, "IncidentPeak": incident.Peak{}, "IncidentPoint": incident.Point{},
		"IncidentAction": incident.Action{}, "IncidentEvidence": incident.Evidence{}, "Count": incident.Count{}, "Line": incident.Line{},
		"DryRun": control.DryRun{}, "Would": control.Would{}, "WouldReason": control.WouldReason{}, "AlertTrial": control.AlertTrial{},
		"SecretInfo": control.SecretInfo{}, "SecretRequest": api.SecretRequest{}, "TryRequest": control.TryRequest{}, "Trial": status.Trial{}, "OriginTrial": control.OriginTrial{}, "Trials": api.Trials{},
		"Passkey": access.Passkey{}, "Account": access.Account{}, "Me": api.Me{}, "Login": access.LoginInfo{}, "Token": access.Token{},
		"NewToken": api.NewToken{}, "TokenRequest": api.TokenRequest{}, "TOTP": api.TOTP{}, "RecoveryCodes": api.RecoveryCodes{},
		"AuditEntry": access.AuditEntry{}, "AuditCheck": api.AuditCheck{}, "Certificate": tls.Certificate{}, "Setup": api.Setup{}, "Update": control.Update{}, "Release": update.Release{},
	} {
		schema, _ := d.schemas[name].(map[string]any)
		properties, _ := schema["properties"].(map[string]any)
		got := slices.Sorted(maps.Keys(properties))
		all, optional := jsonFields(reflect.TypeOf(v))
		if diff := cmp.Diff(slices.Sorted(slices.Values(all)), got); diff != "" {
			t.Errorf("%s: fields of the type (-) and of the schema (+) differ:\n%s", name, diff)
		}
		required, _ := schema["required"].([]any)
		for _, field := range optional {
			if slices.Contains(required, any(field)) {
				t.Errorf("%s.%s can be left out, and the schema requires it", name, field)
			}
		}
	}
}

// jsonFields are the names that encoding/json gives the fields of a type, and those of them that can be left out.
func jsonFields(t reflect.Type) (all, optional []string) {
	for _, f := range reflect.VisibleFields(t) {
		name, options, tagged := strings.Cut(f.Tag.Get("json"), ",")
		if !f.IsExported() || f.Anonymous || name == "-" || len(f.Index) > 1 && slices.Contains(all, name) {
			continue
		}
		if name == "" {
			name = f.Name
		}
		all = append(all, name)
		if tagged && strings.HasPrefix(options, "omit") {
			optional = append(optional, name)
		}
	}
	return all, optional
}

// TestExamplesOfProblems holds each to its schema, to the code that it is an example of, and to that code's status.
func TestExamplesOfProblems(t *testing.T) {
	d := readDocument(t)
	content := d.problem.Content["application/problem+json"]
	if len(content.Examples) < 5 {
		t.Errorf("there are %d examples", len(content.Examples))
	}
	schema := d.schema(t, "components", "schemas", "Problem")
	for code, example := range content.Examples {
		validate(t, schema, "the example "+code, example.Value)
		var p api.Problem
		if err := json.Unmarshal(example.Value, &p); err != nil || p.Code != code || p.Status != api.Refuse(code, "").Status || p.Title != http.StatusText(p.Status) {
			t.Errorf("the example %s is %s (%v)", code, example.Value, err)
		}
	}
}

func TestReasonsAndRolesAreAllDescribed(t *testing.T) {
	d := readDocument(t)
	var reasons, numbers []string
	for r := range status.ReasonCount {
		reasons = append(reasons, r.String())
		numbers = append(numbers, r.String()+" "+strconv.Itoa(r.Code()))
	}
	if diff := cmp.Diff(reasons, enum(d, "Reason")); diff != "" {
		t.Errorf("reasons (-) and document (+) differ:\n%s", diff)
	}
	if said, _ := d.schemas["Reason"].(map[string]any)["description"].(string); !strings.Contains(said, strings.Join(numbers, ", ")) {
		t.Errorf("the numbers of the reasons are described as %s, want %s", said, strings.Join(numbers, ", "))
	}
	var roles []string
	for _, r := range access.Roles() {
		roles = append(roles, string(r))
	}
	if diff := cmp.Diff(roles, enum(d, "Role")); diff != "" {
		t.Errorf("roles (-) and document (+) differ:\n%s", diff)
	}
}

func enum(d *document, name string) (values []string) {
	schema, _ := d.schemas[name].(map[string]any)
	list, _ := schema["enum"].([]any)
	for _, v := range list {
		text, _ := v.(string)
		values = append(values, text)
	}
	return values
}

// TestADangerousChangeWasCommittedAtOnceWithoutAWarning holds what the document says about confirm to what happens.
func TestADangerousChangeWasCommittedAtOnceWithoutAWarning(t *testing.T) {
	b := newBox(t)
	ci := b.token("ci", access.Admin)
	dangerous := strings.ReplaceAll(webtest.Document, "wan0", "wan1")
	ci.call("PUT", "/api/v1/settings", webtest.Document).want(200, "")
	ci.call("PUT", "/api/v1/settings?check=true", dangerous).want(200, "", `"dangerous":true`)
	ci.call("PUT", "/api/v1/settings", dangerous).want(200, "", `"revision":2`)
	for _, o := range []operation{b.document.paths["/api/v1/settings"]["put"], b.document.paths["/api/v1/revisions/{number}/rollback"]["post"]} {
		i := slices.IndexFunc(o.Parameters, func(p described) bool { return p.Name == "confirm" })
		for _, part := range []string{"committed at once", "dangerous: true", "60s is recommended"} {
			if i < 0 || !strings.Contains(o.Parameters[i].Description, part) {
				t.Errorf("confirm of %s does not say %q", o.OperationID, part)
			}
		}
	}
}
