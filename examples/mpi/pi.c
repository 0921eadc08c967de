/* Pi by numerical integration: every rank adds up its share of the rectangles under 4 / (1 + x * x).

   pi [RECTANGLES] [MILLISECONDS]

   The work is done in ten parts, after each of which all ranks meet. With MILLISECONDS each part takes at
   least so long: time to see what happens when a node dies. */

#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PARTS = 10 };

int main(int count, char **words) {
    long rectangles = count > 1 ? atol(words[1]) : 10000000;
    int rest_ms = count > 2 ? atoi(words[2]) : 0;
    int rank, ranks, len;
    char host[MPI_MAX_PROCESSOR_NAME] = "";

    MPI_Init(&count, &words);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &ranks);
    MPI_Get_processor_name(host, &len);

    double width = 1.0 / rectangles, pi = 0;
    for (int part = 0; part < PARTS; part++) {
        double own = 0, all = 0;
        for (long i = (long)part * ranks + rank; i < rectangles; i += (long)PARTS * ranks) {
            double x = (i + 0.5) * width;
            own += 4 / (1 + x * x);
        }
        usleep(1000 * rest_ms);
        MPI_Allreduce(&own, &all, 1, MPI_DOUBLE, MPI_SUM, MPI_COMM_WORLD);
        pi += all * width;
        if (rank == 0 && rest_ms > 0) {
            printf("part %d of %d\n", part + 1, PARTS);
            fflush(stdout);
        }
    }

    char *hosts = malloc((size_t)ranks * sizeof host);
    MPI_Gather(host, sizeof host, MPI_CHAR, hosts, sizeof host, MPI_CHAR, 0, MPI_COMM_WORLD);
    if (rank == 0) {
        printf("pi is %.12f, by %d ranks on", pi, ranks);
        for (int i = 0; i < ranks; i++) {
            printf(" %s", hosts + (size_t)i * sizeof host);
        }
        printf("\n");
    }
    free(hosts);
    MPI_Finalize();
    return 0;
}
