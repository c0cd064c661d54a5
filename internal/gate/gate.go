// Package gate answers "may this start?" and says why not. A gate is a pure function of what is known; gates form a
// [Chain] that reads like a checklist. Admission webhooks refuse with a verdict, controllers put the same verdict into
// a condition, and so the command line, the UI and events show one text.
//
// A message is one sentence: what was refused, which object is in the way, and what to do next.
package gate

import "fmt"

// Outcome of a gate.
type Outcome string

// Outcomes.
const (
	// Passed lets it happen.
	Passed Outcome = "Pass"
	// Waiting opens by itself, or when an earlier step is done: ask again.
	Waiting Outcome = "Wait"
	// Blocked stays closed until a person changes something.
	Blocked Outcome = "Block"
)

// Verdict is the answer of a gate. The zero value is not an answer.
type Verdict struct {
	Outcome Outcome
	// Reason for machines, one of the reasons of api/v1alpha1; empty when passed.
	Reason string
	// Message for people, one sentence; empty when passed.
	Message string
}

// Pass opens the gate.
func Pass() Verdict { return Verdict{Outcome: Passed} }

// Wait closes the gate for now.
func Wait(reason, format string, args ...any) Verdict {
	return Verdict{Waiting, reason, fmt.Sprintf(format, args...)}
}

// Block closes the gate until somebody acts.
func Block(reason, format string, args ...any) Verdict {
	return Verdict{Blocked, reason, fmt.Sprintf(format, args...)}
}

// Passed tells whether the gate is open.
func (v Verdict) Passed() bool { return v.Outcome == Passed }

// Func is one gate over inputs of one kind.
type Func[I any] func(I) Verdict

// Chain is a checklist of gates.
type Chain[I any] []Func[I]

// Evaluate asks the gates in order and returns the first answer that is not a pass; an empty chain passes.
func (c Chain[I]) Evaluate(in I) Verdict {
	for _, gate := range c {
		if v := gate(in); !v.Passed() {
			return v
		}
	}
	return Pass()
}
