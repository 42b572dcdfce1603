#pragma once
/// The one line at the bottom of the terminal that Progress redraws and log messages go around.

#include <string_view>

namespace peft {

/// True when stderr is a terminal that can redraw a line.
bool stderr_is_terminal();

/// Shows `line`, cut to the width of the terminal, in place of the line shown before; empty clears it.
void show_terminal_line(std::string_view line);

/// Writes a whole line of text, with its line feed, to stderr above the line shown.
void write_above_terminal_line(std::string_view line);

}  // namespace peft
