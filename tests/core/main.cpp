#include "check.hpp"

int main() {
    for (const check::Test& test : check::tests()) {
        std::printf("%s\n", test.name);
        std::fflush(stdout);
        test.run();
    }
    return check::tests().empty() ? 1 : 0;
}
