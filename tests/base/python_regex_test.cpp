/// tests/oracle/python_regex_test.py compares with Python itself.

#include "peft/base/python_regex.h"

#include <gtest/gtest.h>

#include <stdexcept>

namespace peft {
namespace {

bool match(const char* pattern, const char* text) { return PythonRegex(pattern).match(text); }
bool fullmatch(const char* pattern, const char* text) { return PythonRegex(pattern).fullmatch(text); }

TEST(PythonRegex, MatchBeginsAtTheStartAndFullmatchTakesAll) {
  EXPECT_TRUE(match("ab", "abc"));
  EXPECT_FALSE(match("b", "abc"));
  EXPECT_FALSE(fullmatch("ab", "abc"));
  EXPECT_TRUE(fullmatch("a|ab|abc", "abc"));
}

TEST(PythonRegex, ReadsWhatPcreReadsInAnotherWayAsPythonDoes) {
  EXPECT_FALSE(match(R"(a\Z)", "a\n"));
  EXPECT_TRUE(match("a$", "a\n"));
  EXPECT_TRUE(fullmatch("a{,2}b", "aab"));
  EXPECT_TRUE(fullmatch("a{,}", "aaa"));
  EXPECT_TRUE(fullmatch("a{b", "a{b"));
  EXPECT_TRUE(fullmatch("[[:a]+", "[:a"));
  EXPECT_TRUE(fullmatch("[]a]+", "]a"));
  EXPECT_TRUE(fullmatch(R"(\v)", "\v"));
  EXPECT_FALSE(fullmatch(R"(\v)", "\n"));
  EXPECT_TRUE(fullmatch(R"([\b])", "\b"));
  EXPECT_TRUE(fullmatch(R"(\x41\101\u0042)", "AAB"));
  EXPECT_TRUE(fullmatch("(?P<x>a)(?P=x)", "aa"));
  EXPECT_TRUE(fullmatch(R"((a)\1)", "aa"));
  EXPECT_TRUE(fullmatch("(?P<x>a)?(?(x)b|c)", "c"));
  EXPECT_TRUE(fullmatch("(?i)Query", "qUERY"));
  EXPECT_TRUE(fullmatch("(?:(?i:Q)uery)", "query"));
  EXPECT_TRUE(fullmatch("a(?#[(\\)b", "ab"));
  EXPECT_TRUE(fullmatch("(?x)a # [ a comment\nb", "ab"));
  EXPECT_TRUE(fullmatch(R"(\w\d)", "é٣"));
}

TEST(PythonRegex, RefusesWhatPythonRefuses) {
  for (const char* pattern : {"(a",     "a)",     "[a",      "*a",      "a**",           R"(\q)",   R"(\Q*\E)", R"(\h)",
                              R"(\1)",  R"(\x4)", R"([\Z])", "(?<x>a)", "(?R)",          "(*FAIL)", "a(?i)b",   "(?|a)",
                              "(?P>x)", R"(a\)",  "(?z)",    R"(\777)", R"(\N{BULLET})", "(?a:b)"}) {
    EXPECT_THROW(PythonRegex{pattern}, std::invalid_argument) << pattern;
  }
}

TEST(PythonRegex, AnExplosiveExpressionIsAnError) {
  const std::string text = std::string(60, 'a') + "!";
  EXPECT_THROW(match("(a+)+$", text.c_str()), std::invalid_argument);
}

}  // namespace
}  // namespace peft
