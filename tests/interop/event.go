package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// That an event shown beside a record is what the record says (docs/reference/event.md), for the native format.

type formatNotRead string

func (f formatNotRead) Error() string { return "format " + string(f) }

// sameEvent compares an answer of GET /events with the record that it is rendered from.
func sameEvent(raw json.RawMessage, record frame, position string) error {
	var shown map[string]any
	if err := decodeNumbers(raw, &shown); err != nil {
		return err
	}
	if original, asked := shown["record"]; asked && original != string(record.value) {
		return errors.New("another original record")
	}
	delete(shown, "record")
	if _, sealed := shown["seal"]; sealed {
		return errors.New("an event in a row has no seal beside its proof")
	}
	for _, name := range []string{"trailseal-id", "trailseal-tenant", "trailseal-format"} {
		given := slices.DeleteFunc(record.values(name), func(value []byte) bool { return value == nil })
		if len(given) > 1 {
			return fmt.Errorf("the record is no event: it has the header %s twice", name)
		}
	}
	// What does not depend on the format.
	format := formatOf(record)
	always := map[string]any{"format": format, "position": position, "received_at": rendering(time.UnixMilli(record.timeMS))}
	if format != "native" {
		for name, value := range always {
			if shown[name] != value {
				return fmt.Errorf("event.%s differs", name)
			}
		}
		return formatNotRead(format)
	}
	expected, err := native(record)
	if err != nil {
		return err
	}
	maps.Copy(expected, always)
	if _, given := expected["id"]; !given {
		delete(shown, "id") // made from where the record stood
	}
	return sameJSON("event", shown, expected)
}

func formatOf(record frame) string {
	if format, given := record.header("trailseal-format"); given {
		return string(format)
	}
	_, binary := record.header("ce_specversion")
	media, _ := record.header("content-type")
	if binary || strings.HasPrefix(strings.ToLower(string(media)), "application/cloudevents+json") {
		return "cloudevents"
	}
	return "native"
}

// native is what a record of that format says, as answers show it.
func native(record frame) (map[string]any, error) {
	var event map[string]any
	if err := oneReading(record.value); err != nil {
		return nil, err
	}
	if err := decodeNumbers(record.value, &event); err != nil {
		return nil, err
	}
	dropNulls(event)
	for header, field := range map[string]string{"trailseal-id": "id", "trailseal-tenant": "tenant_id"} {
		if value, given := record.header(header); given {
			event[field] = string(value)
		}
	}
	happened, err := parseTime(fmt.Sprint(event["timestamp"]))
	if err != nil {
		return nil, err
	}
	event["timestamp"] = rendering(happened)
	event["schema_version"] = json.Number("1")
	for name, value := range map[string]any{"tenant_id": "default", "outcome": "success"} {
		if _, given := event[name]; !given {
			event[name] = value
		}
	}
	for _, name := range []string{"actor", "resource", "context"} {
		if id, isText := event[name].(string); isText {
			event[name] = map[string]any{"id": id}
		}
		if fields, isObject := event[name].(map[string]any); isObject {
			dropNulls(fields)
			if address, err := netip.ParseAddr(fmt.Sprint(fields["source_ip"])); err == nil {
				fields["source_ip"] = address.Unmap().String()
			}
		}
	}
	if changes, given := event["changes"].([]any); given {
		for _, change := range changes {
			if fields, isObject := change.(map[string]any); isObject {
				dropNulls(fields)
			}
		}
		if len(changes) == 0 {
			delete(event, "changes")
		}
	}
	for _, name := range []string{"context", "metadata"} {
		if fields, isObject := event[name].(map[string]any); isObject && len(fields) == 0 {
			delete(event, name)
		}
	}
	return event, nil
}

// parseTime reads RFC 3339; a leap second is the first second of the next day.
func parseTime(text string) (time.Time, error) {
	usual := strings.Replace(strings.ToUpper(text), ":60", ":59", 1)
	at, err := time.Parse(time.RFC3339, usual)
	if usual != strings.ToUpper(text) {
		at = at.Add(time.Second)
	}
	return at, err
}

// rendering is RFC 3339 in UTC: whole seconds, or six digits after them.
func rendering(at time.Time) string {
	at = at.UTC().Truncate(time.Microsecond)
	if at.Nanosecond() == 0 {
		return at.Format("2006-01-02T15:04:05Z")
	}
	return at.Format("2006-01-02T15:04:05.000000Z")
}

func dropNulls(fields map[string]any) {
	for name, value := range fields {
		if value == nil {
			delete(fields, name)
		}
	}
}

func decodeNumbers(raw []byte, into any) error {
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber()
	return decoder.Decode(into)
}

// sameJSON compares values; true is no number.
func sameJSON(where string, left, right any) error {
	same := left == nil && right == nil
	switch l := left.(type) {
	case map[string]any:
		r, isObject := right.(map[string]any)
		same = isObject && len(l) == len(r)
		for name, value := range l {
			other, given := r[name]
			if !given {
				return fmt.Errorf("%s.%s is only in one of them", where, name)
			}
			if err := sameJSON(where+"."+name, value, other); err != nil {
				return err
			}
		}
	case []any:
		r, isArray := right.([]any)
		if same = isArray && len(l) == len(r); same {
			for place := range l {
				if err := sameJSON(fmt.Sprintf("%s[%d]", where, place), l[place], r[place]); err != nil {
					return err
				}
			}
		}
	case json.Number:
		r, isNumber := right.(json.Number)
		same = isNumber && sameNumber(l.String(), r.String())
	case string, bool:
		same = left == right
	}
	if !same {
		return fmt.Errorf("%s differs", where)
	}
	return nil
}
