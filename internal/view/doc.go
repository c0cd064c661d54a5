// Package view turns the objects of Meshlift into what people read: rows, checklists, trees, progress and the next
// command to type. It is pure: the same values always give the same text. The command line, its terminal interface and the
// web interface share it.
//
// Each model (for example [Status]) is a plain value with JSON names, which is what "-o json" prints, and has a Render
// method, which is what a terminal shows.
package view
