// The one place where Boost.Asio is included, header-only, so that all files agree on how.
#pragma once

// It runs in one thread here: no fences (of which TSan knows nothing).
#define BOOST_ASIO_DISABLE_FENCED_BLOCK
#define BOOST_ASIO_NO_DEPRECATED
// Asio would export its symbols from our library, where they meet those of another one in the same
// server with another version of it.
#define BOOST_ASIO_DISABLE_VISIBILITY

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/address.hpp>
#include <boost/asio/posix/basic_stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>
