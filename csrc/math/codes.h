// Enumerations with the names that Python knows them by: EDT_CODES(Kind, type, LIST), where LIST(X)
// is X(first) X(second) ... in the order of their codes. The binding hands the names on.
#pragma once

#define EDT_CODE(name) name,
#define EDT_CODE_NAME(name) #name,
#define EDT_CODES(Kind, type, LIST)                                                                \
  enum class Kind : type { LIST(EDT_CODE) };                                                       \
  constexpr const char* k##Kind##Names[] = {LIST(EDT_CODE_NAME)};
