#pragma once

/// A function of the library's interface: all else is hidden.
#define EXPORTED extern "C" __attribute__((visibility("default")))
