// The one place where Boost.Asio is included, header-only, so that all files agree on how.
#pragma once

// Asio runs in one thread here: no fences (of which TSan knows nothing).
#define BOOST_ASIO_DISABLE_FENCED_BLOCK
#define BOOST_ASIO_NO_DEPRECATED

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/basic_stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>
