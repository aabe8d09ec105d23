/* SPDX-License-Identifier: MIT */
#include "histogram.h"

/* Values below HISTOGRAM_PARTS have a cell each; above, the top bits after the leading one choose. */
static unsigned cell_of(uint64_t value)
{
    if (value < HISTOGRAM_PARTS)
        return (unsigned)value;
    unsigned top = 63u - (unsigned)__builtin_clzll(value);
    unsigned shift = top - HISTOGRAM_PART_BITS;
    return (shift + 1) * HISTOGRAM_PARTS + (unsigned)((value >> shift) - HISTOGRAM_PARTS);
}

static uint64_t highest_in_cell(unsigned cell)
{
    if (cell < HISTOGRAM_PARTS)
        return cell;
    unsigned shift = cell / HISTOGRAM_PARTS - 1;
    uint64_t first = (uint64_t)(cell % HISTOGRAM_PARTS + HISTOGRAM_PARTS) << shift;
    return first + (((uint64_t)1 << shift) - 1);
}

void histogram_add(struct histogram *histogram, uint64_t value_ns)
{
    histogram->cells[cell_of(value_ns)]++;
    histogram->count++;
    histogram->sum_ns += value_ns;
    if (value_ns > histogram->max_ns)
        histogram->max_ns = value_ns;
}

uint64_t histogram_quantile_ns(const struct histogram *histogram, double share)
{
    if (histogram->count == 0)
        return 0;
    double wanted = share * (double)histogram->count;
    uint64_t seen = 0;
    for (unsigned cell = 0; cell < HISTOGRAM_CELLS; cell++) {
        seen += histogram->cells[cell];
        if (seen > 0 && (double)seen >= wanted) {
            uint64_t value = highest_in_cell(cell);
            return value < histogram->max_ns ? value : histogram->max_ns;
        }
    }
    return histogram->max_ns;
}

double histogram_mean_ns(const struct histogram *histogram)
{
    return histogram->count ? (double)histogram->sum_ns / (double)histogram->count : 0;
}
