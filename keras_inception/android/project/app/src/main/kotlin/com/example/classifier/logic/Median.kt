package com.example.classifier.logic

/** The median of the latest times, since single ones jump. */
class Median(size: Int = 31) {
    private val times = LongArray(size)
    private val sorted = LongArray(size)
    private var count = 0
    private var next = 0

    /** Add a time, and return the median; of an even number, the lower one in the middle. */
    fun add(time: Long): Long {
        times[next] = time
        next = (next + 1) % times.size
        count = minOf(count + 1, times.size)
        times.copyInto(sorted, endIndex = count)
        sorted.sort(0, count)
        return sorted[(count - 1) / 2]
    }

    fun clear() {
        count = 0
        next = 0
    }
}
